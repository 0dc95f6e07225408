"""The subcommands of `python -m bench`, one file each."""
