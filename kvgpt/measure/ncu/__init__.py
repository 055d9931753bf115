"""Hardware counters of a GPU through Nsight Compute: what to count, how, what came out, and whether to believe it.

``counters`` names what is counted, ``capture`` runs ``ncu``, ``steps`` is what it watches, ``exported`` reads its CSV,
and ``counted`` makes figures of it, held to kernels whose bytes and operations are known. Only ``steps`` needs a GPU.
"""
