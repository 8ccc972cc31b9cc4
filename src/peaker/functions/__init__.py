"""Functions on one machine: the Invoke API, and the instances that answer it.

From the outside in: `host.py` speaks the Invoke API, `pool.py` keeps instances, `launcher.py` starts them.
A launcher has one zygote (`zygote_link.py` to `zygote.py`, two ends of one socket), which imports the user's code once
(`preparation.py`), proves that it may be forked (`fork_safety.py`, `canary.py`) and forks an instance whenever asked.
An instance is seen by the host as `forked.py`, is made of the zygote's copy by `after_fork.py`, and answers in
`instance.py`: a handler through `handler.py`, a web app through `web.py`. `limits.py` bounds what it may use,
`frames.py` what it may say, `log_pipe.py` what it may print.
"""
