"""Labelled attacks put into a copy of a network's own history, to see what the engine would find of them.

::

    network     who is there, out of the history        -> Network
    techniques  what can be played, and what shows it
    cast        campaigns on these hosts                -> Cast
    records     how that looks to this network's sensors
    run         two backtests: with and without         -> Drill
    measure     coverage, times, what else changed
    written     files for people and programs
"""
