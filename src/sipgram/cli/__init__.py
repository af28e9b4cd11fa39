"""The command line: each command a module, imported when it is asked for."""
