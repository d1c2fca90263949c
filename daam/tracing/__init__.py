"""Watches a model's cross-attention while it samples, and adds up what each token gets."""
