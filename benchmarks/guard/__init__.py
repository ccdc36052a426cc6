"""How good the guard is: simulated lives, real models over recorded store days, and the theory it rests on."""
