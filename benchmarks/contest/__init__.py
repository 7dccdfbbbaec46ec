"""The contest behind ``benchmarks/detection.py``: eastwest and its comparators judged on the same data.

::

    plants, darpa, captures, lanl, optc   what is judged        -> frames of `detector.records`, labelled hops
    eastwest, comparators                 who judges it         -> a score for every row, or alerts
    units, truth                          what is counted       -> (source, target, day), campaigns
    outcome, metrics                      how well it went
    tables                                what people read
"""
