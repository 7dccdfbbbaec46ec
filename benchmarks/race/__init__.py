"""The race behind ``benchmarks/speed.py``: eastwest and what its speed is held against, on the same made data.

::

    shape, lines, folder                  what is read          -> flows of a stated shape, as sensors write them
    laps, cores                           how it is timed       -> rounds in which all take turns, on one core
    parsers, batches, rivals, eastwest    who runs              -> contestants
    stages, latency, state, growth, pair, forest                -> where the time and the memory of eastwest go
    targets, tables                       what people read
    programme                             one fresh process a part
"""
