"""Which candidate a trial gets: proposals, a pool, a ranking."""
