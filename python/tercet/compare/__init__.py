"""``tercet compare``: ways to rank, side by side on a judged collection, everything measured in one run.

``beir`` reads the collection, ``arms`` says what is compared, ``measures`` how good a ranking is and how sure
that is, ``run`` does it, ``summary`` boils it down, ``report`` and ``plot`` show it.
"""
