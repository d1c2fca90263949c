"""Many prompts generated into one folder: what to generate, what is done, who does it."""
