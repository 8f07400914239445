"""One module per peer library, imported only in a worker process (harness/worker.py).

A module has ``VERSION`` and functions that take the shared arrays and settings by keyword, prepare whatever
the library allows to be done ahead (packing, building an index), and return ``run() -> array``: one call.
"""
