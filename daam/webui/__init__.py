"""The extension for WebUIs: AUTOMATIC1111's and what follows its ways.

hosts/ says what a WebUI is asked for, and hides each WebUI's ways; registration.py hooks us into its life; panel.py,
options.py and axes.py make its page from the table of settings; prompts.py reads what was encoded; watching.py traces
one `p.sample`; results.py draws, saves and keeps what came out.
"""
