"""Recorded training steps: chains of the calls that a custom step makes, replayed without its code.

step_chains.py decides when a step is recorded, and verifies its chain; chain.py replays it, and
followers.py joins assignments to an optimizer's step. step_reads.py finds what a step reads, and
whether it can be recorded; held.py lists what a step may change, shown_metrics.py the metrics whose
calls are recorded, kept_state.py saves and restores all that for the verification.
predict_steps.py records `predict_step`; steps.py is `cdl.Steps`, for loops of one's own.
"""
