"""To come."""
def add_arguments(benches): pass
def run(chosen): pass
