"""The commands of ``tercet``: each module adds some to the parser, and imports the rest when one is run."""
