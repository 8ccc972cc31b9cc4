"""Events: what happened and wants a function run, kept until a function has finished with it."""
