"""The operations of libspeft on this machine: against what the hardware allows, and what users run today.

``make bench`` prints a table and leaves ``report.json`` and ``report.png`` in ``out/bench/``. Every row has
two ratios, both of the same process: to the limit (bytes that must move ÷ this machine's copy bandwidth, or
operations ÷ its rate of dense products), and to the peer (PyTorch code for the same result).
"""
