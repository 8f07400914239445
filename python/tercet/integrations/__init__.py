"""Adapters for the libraries people have: one module a library, which imports it when it is imported itself.

Nothing in tercet imports these. ``tercet.integrations.langchain`` needs ``pip install 'tercet[langchain]'``,
and so on: an extra has the name of its package, a module that of its import.
"""
