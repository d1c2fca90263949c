"""What the grammar of a prompt has to do with its heat maps: relations, pairs of nouns, adjectives."""
