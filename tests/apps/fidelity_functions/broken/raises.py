def prepare():
    raise ValueError("no key")


prepare()
