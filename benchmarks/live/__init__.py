"""The measurements behind ``benchmarks/stream.py``: from a real Kafka to alerts, beside a bare consumer.

::

    feed       what topics hold: flows of `race.shape` as Zeek JSON, one line a record or many
    passes     a consumer that only looks, the source, the service's loop: the same records, in turns
    pace       a producer that sends rows as they happen
    latency    the service as a process; from the row to the line about it
    programme  one part after the other
    report     all numbers, and the tables that people read
"""
