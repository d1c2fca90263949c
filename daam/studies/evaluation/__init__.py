"""Heat maps against masks that are known to be true: reading them, matching words, and the scores."""
