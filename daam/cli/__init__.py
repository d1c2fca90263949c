"""The command line: reads options, calls the library, writes files. The only part that prints."""
