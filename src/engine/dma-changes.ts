/**
 * What a device must hear of that translates and moves data on its own, in a thread beside the engine's:
 * what an IOMMU tells the caches of translations (07 §9). While there is no such device this costs nothing.
 */
export interface DmaFollower {
  /**
   * Mappings are gone from a table, or their dirty marks were read. Returns when no access that may have
   * used them is under way any more.
   */
  unmapped(): void
  /** A device or PASID translates through something else now. Returns as `unmapped` does. */
  translationChanged(): void
  /** The frames of an extent, of which this is the first, belong to no page any more. Nothing maps them. */
  framesFreed(firstFrame: number): void
}

export class DmaChanges implements DmaFollower {
  readonly #followers = new Set<DmaFollower>()

  /** Returns how to stop that. */
  follow(follower: DmaFollower): () => void {
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }

  unmapped(): void {
    for (const follower of this.#followers) follower.unmapped()
  }

  translationChanged(): void {
    for (const follower of this.#followers) follower.translationChanged()
  }

  framesFreed(firstFrame: number): void {
    for (const follower of this.#followers) follower.framesFreed(firstFrame)
  }
}
