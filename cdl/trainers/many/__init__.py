"""Training of many models at once.

train_many.py runs the jobs on threads, by_joblib.py on workers of an engine; group.py trains those
that are alike with one program, alike.py and plain_functions.py say which are, and ended_run.py is
what is left then; own_callbacks.py gives each job callbacks of its own, shared_parts.py refuses
what jobs cannot share, progress.py is the bar over all of them, workers.py has the threads.

Members of a `Replicas`: first_weights.py draws their weights, member_data.py says which rows are
of one, stand_in.py is the model that takes the place of one after the other, stacked_run.py trains
many in one call of the core, watched_run.py those with validation and callbacks an epoch of all in
a call, of jobs too, and members_fit.py all of them.
"""
