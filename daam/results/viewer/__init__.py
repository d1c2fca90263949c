"""The interactive viewer: its data, and the page around it. What it does in the browser is in `javascript/`."""
