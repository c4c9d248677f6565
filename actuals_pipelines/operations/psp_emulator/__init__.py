"""An emulator of a PSP's API behind OAuth 2, for the demo and the tests: what an outside API does, on this machine.

It serves the rows that `demo_data` wrote, over TLS, in a process of its own. It is no part of a production home.
"""
