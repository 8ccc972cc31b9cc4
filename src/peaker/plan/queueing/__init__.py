"""The compiled part of the simulation: one loop over arrivals, and the state that it works on.

Functions here take arrays and plain numbers, so that numba can compile them. Without numba, or with
NUMBA_DISABLE_JIT=1, they run as they stand and give the same answer, some hundred times slower.
"""
