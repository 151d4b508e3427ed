"""Who may do what on the desk: the policy that answers at once, and the requests that wait for a person."""
