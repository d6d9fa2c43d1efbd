package org.speft;

/**
 * What quantizing anew has left of the deltas.
 *
 * @param deltas scalars with a delta
 * @param changed of those, how many have got another code; a new scale alone does not count
 * @param relativeError ‖ŵ-w‖/‖w‖ over the blocks that were quantized anew: w is dequantized+δ, ŵ as it is dequantized
 *     now
 */
public record Requantization(long deltas, long changed, double relativeError) {}
