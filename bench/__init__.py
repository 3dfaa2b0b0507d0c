"""Side-by-side measurements: Portico against the limit of the machine and against what providers run today.

Everything compared is measured in one run, in interleaved rounds on the same machine, so the ratios hold where the
absolute figures drift. Nothing here is part of the product.
"""
