"""How the benchmarks measure: one core, interleaved rounds, peers in processes of their own, tables."""
