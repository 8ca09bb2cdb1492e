// Package dptest is a kit for privacy teams: checks of whatever adds noise, counts
// budgets or prepares what is noised, written from the rules and not from any bug. A
// check is one line in a test of yours, and has a form CheckX that returns an error for
// use outside tests, such as against a staging system:
//
//	func TestOurMechanism(t *testing.T) {
//		dptest.Mechanism(t, dptest.MechanismKit{New: ours, Mechanism: dp.DiscreteLaplace})
//	}
//
// # Threat, check, blind spot
//
// Deterministic checks come first: what they report is proved, or seen.
//
//	what could leak                       check             what it cannot see
//	one unit moves what is noised by      Sensitivity       inputs that World never draws; what
//	  more than declared; keys, errors,                     Run does not return; time, memory
//	  orders, true numbers beside noise
//	a sampler with holes, ends, a bias,   Sampler           samplers that read more than some 20 bits
//	  a rounded scale                                       before they decide; the generator itself
//	an accountant that says too little    Accountant        mixed compositions but by their laws;
//	                                                        a vector's other cells; δ below 1e-9
//	a ledger that forgets, races, refunds LedgerConformance power failures; two machines
//
// Statistical checks have a false-alarm rate of 1e-9 a test, a fixed seed, and no
// second try. What they report is proved with that certainty; what they pass is known as
// well as their power says:
//
//	noise of the wrong scale, law, seed   Mechanism         faults below a tenth of ε at 65,000
//	  or precision; wrapping, NaN, hangs                    samples, more below with fewer; ε above
//	                                                        6, but for a Gaussian's variance; a clock
//	                                                        in place of randomness that fails
//	two inputs that can be told apart     Audit             other inputs; δ below some 1e-3; what
//	                                                        repeats only between processes
//	thresholds, empty keys, shared noise  Selection         δ of 1e-6 but by orders of magnitude
//	error bars that are too short         Intervals         truths that Run never has
//
// That a kit finds nothing proves nothing. No black box test can certify a small δ (an
// event of probability 1e-9 is not seen), the absence of a back door (a mechanism that
// misbehaves on one secret input), or a generator whose seed somebody knows. KillMatrix
// shows what the checks do see: it runs builds that are broken on purpose.
//
// # Samplers
//
// Sampler plays every tape of randomness, so it needs samplers that take theirs from
// outside and in small draws. Noise.Add of package dp reads a seed of 32 bytes, which no
// audit can enumerate: its samplers are audited by dp's own tests at the seam behind the
// seed, and by Mechanism from outside.
//
// # Reading a failure
//
// A Fault says which rule is broken, by how much, on which input (the smallest that was
// found: inputs are shrunk while the same rule stays broken), and what somebody gets
// from it. An audit that could not have failed is a fault as well: a constant, an
// error, NaN, too few samples, tapes that decide nothing.
//
// # Sources
//
//   - Ding, Wang, Wang, Zhang, Kifer: Detecting Violations of Differential Privacy,
//     2018, arXiv 1805.10559 (choose an event on one sample, judge it on another)
//   - Berger, Boos: P Values Maximized Over a Confidence Set for the Nuisance
//     Parameter, 1994; Clopper, Pearson: The Use of Confidence or Fiducial Limits, 1934
//   - Mironov: On Significance of the Least Significant Bits for Differential
//     Privacy, 2012
//   - Casacuberta, Shoemate, Vadhan, Wagaman: Widespread Underestimation of Sensitivity
//     in Differentially Private Libraries, 2022, arXiv 2207.10635
//   - Zhang, Roth et al.: Testing Differential Privacy with Dual Interpreters, 2020,
//     arXiv 2010.04126 (record and replay)
package dptest
