// Package dp adds differentially private noise to vectors of integers and keeps
// the books on what it costs. Numbers in, noised numbers out: it reads no records.
//
// The few calls that matter:
//
//	s, err := bounds.Sensitivity(dp.Disjoint)  // what one privacy unit can change
//	n, err := dp.Calibrate(params, s)          // the noise that this needs
//	_, err = ledger.Reserve(ctx, charge)       // n.Cost(), durable before any noise
//	err = n.Add(ctx, values, nil)              // noise on every value, in place
//	h, c, err := n.Interval(1, 0.95)           // the error bar of a value
//
// What many uses lose together is for an Accountant to say, far below the sum of
// their ε, with a bound from either side:
//
//	a, err := dp.Compose(dp.Event{Mechanism: dp.Laplace, Scale: 10, Sensitivity: 1, Count: 52})
//	b, err := a.Epsilon(1e-6)                  // b.Lo ≤ ε ≤ b.Hi, and b.Proof how
//
// SmallestScale inverts it; a Rule says how a ledger adds charges up; a Filter holds a budget over events chosen along the
// way. A key set that depends on the data first passes a Selection, which is charged
// too. The value of Bounds that clips a unit's contributions (Bounds.Clip) is the
// value that the noise is scaled to; nobody passes a sensitivity by hand.
//
// Distinct members are counted by the set bits of a bitmap: an Occupancy says how many members
// they stand for, a Flip hides the bits of a bitmap from whoever is to join many.
//
// # Guarantee
//
// Two datasets are neighbours if one is the other with one privacy unit added or
// removed. If every unit contributes within the Bounds, then for every pair of
// neighbours D and D′ and every set S of outputs the mechanism M of Calibrate(p, s)
// (and that of NewSelection) has
//
//	P(M(D) ∈ S) ≤ exp(ε) · P(M(D′) ∈ S) + δ
//
// with (ε, δ) = Cost(). It holds for the whole vector, for any post-processing, and adds up over uses
// as the Ledger adds it up. Scales are rounded up, δ is checked on the verified
// side, and Noise.GroupCost says what is left for a unit that reaches further.
//
// # Not covered
//
//   - Contributions beyond the Bounds: the caller enforces them, before the sum.
//   - Whatever is published without noise: sizes of vectors, keys fixed in advance, inventory.
//   - Timing. The samplers take a number of steps that depends on the noise.
//   - The randomness. The discrete mechanisms are exact given uniform bits; the
//     bits come from AES-256 in counter mode under a random key, so the promise
//     is against an adversary who cannot tell that from uniform bits.
//   - Floating point inside Google's library: its two mechanisms sample a finite
//     approximation with parameters of float64. The discrete mechanisms use integers only.
//   - Values beyond ±2⁶²: they saturate, and are then noised.
//
// # Mechanisms
//
// With Δ₁, Δ₂ the sensitivities, and X the noise on one value:
//
//	            law on the integers              scale                cost    sampling              ns/value¹  replays
//	laplace            rounded Laplace           b = Δ₁/ε             (ε, 0)  Google, fine lattice  13,000     no
//	gaussian           rounded normal            σ: Balle–Wang 2018   (ε, δ)  Google, binomial      13,000     no
//	discrete_laplace   P(x) ∝ exp(−|x|/b)        b = Δ₁/ε             (ε, 0)  exact                 200        yes
//	discrete_gaussian  P(x) ∝ exp(−x²/2σ²)       σ² = Δ₂²/2ρ          (ε, δ)  exact                 350        yes
//
// ¹ Orders of magnitude, one core. Exact: the law is that of a rational scale r/2ʲ, at
// most 2⁻⁴⁷ above the wanted one, but for an event of probability 2⁻¹¹⁸¹⁶. ρ is the
// largest for which ρ-zCDP implies (ε, δ)-DP by Canonne, Kamath, Steinke 2020,
// Proposition 12: the formula of the continuous Gaussian understates what
// the discrete one costs. Google's Gaussian ends at 8.81 σ, where a whole one goes
// on; Calibrate counts that into δ and refuses what does not fit. Its ε is at most 256.
//
// # Randomness
//
// Noise.Add and Selection.Select read exactly 32 bytes K from their io.Reader. Values
// i·4096 … i·4096+4095 of the vector draw from stream i, the output of AES-256-CTR under the key K from
// the initial counter block
//
//	bytes 0–7   i, big endian
//	bytes 8–15  0, the part that counts blocks, big endian
//
// (Flip.Add likewise: bin j draws one word of stream ⌊j/4096⌋, and its bit is flipped if the word
// is below q·2⁶⁴.) It is read as 64-bit words, little endian, in the order of the values. A uniform
// integer below n is ⌊w·n/2⁶⁴⌋ of the first word w for which w·n mod 2⁶⁴ ≥ 2⁶⁴ mod n
// (Lemire 2019). The samplers draw integers in the order of Algorithms 1–3 of Canonne,
// Kamath, Steinke 2020, as the source lays out: a fraction before its 1/k. The
// same K gives the same noise whatever the number of processors: never use a K
// twice. A MemoryLedger chains its reservations with SHA-256; the layout is at the
// function that computes it, in ledger.go:
//
//	head₀ = SHA-256("larder memory ledger")
//	headᵢ = SHA-256(headᵢ₋₁ ‖ SHA-256(chargeᵢ))
//	charge = len(epoch) epoch round digest len(unit) unit ε δ count len(events) events
//
// with lengths, round and count as 8 bytes big endian, the digest as 32 bytes, ε and δ as the 8 bytes of an IEEE 754
// float64, big endian, and events as encoding/json writes them, empty if there are none.
//
// # Sources
//
//   - Canonne, Kamath, Steinke: The Discrete Gaussian for Differential Privacy, 2020, arXiv 2004.00010
//   - Balle, Wang: Improving the Gaussian Mechanism for Differential Privacy, 2018, arXiv 1805.06530
//   - Ghosh, Roughgarden, Sundararajan: Universally Utility-Maximizing Privacy Mechanisms, 2009, arXiv 0811.2841
//   - Korolova, Kenthapadi, Mishra, Ntoulas: Releasing Search Queries and Clicks Privately, 2009 (partition selection)
//   - Bun, Steinke: Concentrated Differential Privacy, 2016, arXiv 1605.02065
//   - Whitehouse, Ramdas, Rogers, Wu: Fully-Adaptive Composition in Differential
//     Privacy, 2023, arXiv 2203.05481
//   - Zhu, Dong, Wang: Optimal Accounting of Differential Privacy via Characteristic Function, 2022, arXiv 2106.08567
//   - Chourasia, Javaid, Sikdar: Laplace Transform Interpretation of Differential Privacy, 2025, arXiv 2411.09142
//   - Alghamdi, Asoodeh, Calmon, Gomez, Kosut, Sankar: The Saddle-Point Method in Differential Privacy, 2023, arXiv 2208.09595
//   - Lemire: Fast Random Integer Generation in an Interval, 2019, arXiv 1805.10941
//   - Warner: Randomized Response, Journal of the American Statistical Association, 1965
//   - Hehir, Ting, Cormode: Sketch-Flip-Merge: Mergeable Sketches for Private Distinct Counting, 2023, arXiv 2302.02056
//   - Whang, Vander-Zanden, Taylor: A Linear-Time Probabilistic Counting Algorithm, 1990
//   - Vatutin, Mikhailov: Limit Theorems for the Number of Empty Cells, 1982 (as a sum of independent indicators)
//   - Google: Secure Noise Generation, github.com/google/differential-privacy/blob/main/common_docs/Secure_Noise_Generation.pdf
package dp
