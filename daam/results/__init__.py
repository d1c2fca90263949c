"""What comes of a generation: drawings, the record file, the report, the viewer with its page, file names."""
