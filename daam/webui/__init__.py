"""The extension for AUTOMATIC1111's WebUI. The only package that imports the WebUI's `modules`.

host.py hides the WebUI's versions; panel.py makes the panel from the table of settings; prompts.py and rows.py say
what stands behind each row of a model call; watching.py traces one `p.sample`; results.py draws, saves and keeps what
came out.
"""
