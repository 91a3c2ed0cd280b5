"""Test hosts: the scripted upstream, a refused port, the small real model."""
