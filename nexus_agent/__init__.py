"""nexus-agent: serves one desk. It captures the screen, injects input, and is the only authority over both.

capture/ input/ desks/   the desktop itself: pixels, keys and pointer, and the kinds of desktop
stream/                  the live picture
permissions/             the policy, and the requests that wait for a person
actions/                 what is done to the desk, at most once
session, agent, cli      one operator's link; all of them; the command line
"""
