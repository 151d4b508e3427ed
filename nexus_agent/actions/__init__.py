"""Doing things to the desk.

runner       an action's way from asked for to ended: policy, request, at most once, reports
ledger       which ids have been seen, so that none runs twice
checks       what is wrong with an action before anybody is asked about it
hands        keyboard and pointer
screenshots, commands, files
"""
