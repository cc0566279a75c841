"""`run --sanity`: is it the data or the schedule?"""
