"""The English texts of the page besides those of the settings, which stand with them in daam/results/settings.py.

The WebUI's localisation files translate what the page shows, text by text, so texts that vary are kept short.
"""

FILL = "Fill from prompt"
PANEL_HELP = "Shows which part of the picture attends to each word of the prompt. The picture stays as it is."
MORE = "More"
FILL_TOOLTIP = "Write the prompt's words here, to pick from."
EARLIER = "Heat maps of an earlier picture"
EARLIER_FILE = "A picture that was saved while records were kept"

STUDY_EXPLANATION = (
    "Generates the prompt with one seed again and again, with each term weaker, stronger or left out, and shows what "
    "changed beside the heat maps. A heat map shows where the picture attends to a word; this, what the word changes."
)
STUDY_TERMS = "Terms to vary (comma separated; empty = every word)"
STUDY_WEIGHTS = "Weights"
STUDY_LEAVE_OUT = "Leave each term out"

SETTINGS_PAGE = "Settings → Attention Heatmap"
KEEP_RECORDS = "Keep a record file for each saved picture, to draw its heat maps again later"
RECORD_FOLDER = "Folder for record files (empty = beside the picture)"
AT_START = "{} at start"
