"""Chains of calls that a training step of the user's makes, run again without its code.

step_chains.py decides when there is one and whether it is right; chain.py runs it; step_reads.py
says what a step may do, and compares what it reads; held.py finds what it may change,
shown_metrics.py its metrics; kept_state.py compares chains with it. steps.py has steps that users
call themselves.
"""
