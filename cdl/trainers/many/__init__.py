"""Training of many models at once.

train_many.py runs jobs on threads, by_joblib.py on joblib's workers, and meeting.py collects calls
of `fit` from several threads. group.py trains alike jobs with one program, which stacked_jobs.py
brings into stacks; alike.py and plain_functions.py tell which jobs are alike, and ended_run.py has
results. own_callbacks.py copies callbacks for each job, shared_parts.py refuses objects that jobs
cannot share, progress.py is the progress bar, workers.py has the threads.

Members of a `Replicas`: members_fit.py trains them, first_weights.py draws their weights,
member_data.py has their rows. stand_in.py is the model that is trained in place of each;
stacked_run.py trains many members in one call of the core, and watched_run.py those, and jobs, with
validation and callbacks: one epoch of all in a call.
"""
