"""The official clients against a running sidecar: what an app's author would notice."""
