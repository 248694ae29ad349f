/**
 * An ordered map that is never changed: adding and removing give a new map that shares almost all of
 * the old one. So every moment of a recording can be kept, and costs what changed since the one before.
 *
 * A weight-balanced tree. Each node also knows the sum of its values' weights, so that a picture of
 * 100,000 mappings asks for sums, not for mappings.
 */

export type Key = number | bigint

interface Node<K extends Key, V> {
  readonly key: K
  readonly value: V
  readonly left: Tree<K, V>
  readonly right: Tree<K, V>
  readonly size: number
  readonly weight: number
}

type Tree<K extends Key, V> = Node<K, V> | undefined

/** What a range holds: how many entries, and the sum of their weights. */
export interface Sum {
  readonly count: number
  readonly weight: number
}

/** A subtree may be this many times as large as its sibling. */
const DELTA = 3
/** A subtree whose inner child is this many times its outer one is rotated twice. */
const RATIO = 2

export class OrderedMap<K extends Key, V> {
  readonly #root: Tree<K, V>
  readonly #weigh: (value: V) => number

  private constructor(root: Tree<K, V>, weigh: (value: V) => number) {
    this.#root = root
    this.#weigh = weigh
  }

  static empty<K extends Key, V>(weigh: (value: V) => number = () => 0): OrderedMap<K, V> {
    return new OrderedMap<K, V>(undefined, weigh)
  }

  get size(): number {
    return this.#root?.size ?? 0
  }

  /** Sum of the weights of all values. */
  get weight(): number {
    return this.#root?.weight ?? 0
  }

  get(key: K): V | undefined {
    let node = this.#root
    while (node !== undefined && node.key !== key) node = key < node.key ? node.left : node.right
    return node?.value
  }

  /** The value with the largest key not above this one. */
  atOrBefore(key: K): V | undefined {
    let found: Node<K, V> | undefined
    let node = this.#root
    while (node !== undefined)
      if (node.key <= key) {
        found = node
        node = node.right
      } else node = node.left
    return found?.value
  }

  /** The value with the smallest key not below this one. */
  atOrAfter(key: K): V | undefined {
    let found: Node<K, V> | undefined
    let node = this.#root
    while (node !== undefined)
      if (node.key >= key) {
        found = node
        node = node.left
      } else node = node.right
    return found?.value
  }

  with(key: K, value: V): OrderedMap<K, V> {
    return new OrderedMap(insert(this.#root, key, value, this.#weigh), this.#weigh)
  }

  without(key: K): OrderedMap<K, V> {
    const root = remove(this.#root, key, this.#weigh)
    return root === this.#root ? this : new OrderedMap(root, this.#weigh)
  }

  /** Of the entries with keys from `first` to `last`, both included. */
  sum(first: K, last: K): Sum {
    const total = { count: 0, weight: 0 }
    addUp(this.#root, first, last, this.#weigh, total)
    return total
  }

  /** Values in ascending order of their keys, from the first key not below `from` on. */
  *values(from?: K): Generator<V> {
    const path: Node<K, V>[] = []
    let node = this.#root
    for (;;) {
      while (node !== undefined)
        if (from === undefined || node.key >= from) {
          path.push(node)
          node = node.left
        } else node = node.right
      const next = path.pop()
      if (next === undefined) return
      yield next.value
      node = next.right
    }
  }
}

const sizeOf = (tree: Tree<Key, unknown>): number => tree?.size ?? 0
const weightOf = (tree: Tree<Key, unknown>): number => tree?.weight ?? 0

const make = <K extends Key, V>(
  key: K,
  value: V,
  left: Tree<K, V>,
  right: Tree<K, V>,
  weigh: (value: V) => number,
): Node<K, V> => ({
  key,
  value,
  left,
  right,
  size: sizeOf(left) + sizeOf(right) + 1,
  weight: weightOf(left) + weightOf(right) + weigh(value),
})

/** A node whose subtrees were balanced before one of them changed by one entry. */
const balanced = <K extends Key, V>(
  key: K,
  value: V,
  left: Tree<K, V>,
  right: Tree<K, V>,
  weigh: (value: V) => number,
): Node<K, V> => {
  const leftSize = sizeOf(left)
  const rightSize = sizeOf(right)
  if (leftSize + rightSize > 1) {
    if (right !== undefined && rightSize > DELTA * leftSize)
      return leanLeft(key, value, left, right, weigh)
    if (left !== undefined && leftSize > DELTA * rightSize)
      return leanRight(key, value, left, right, weigh)
  }
  return make(key, value, left, right, weigh)
}

const leanLeft = <K extends Key, V>(
  key: K,
  value: V,
  left: Tree<K, V>,
  right: Node<K, V>,
  weigh: (value: V) => number,
): Node<K, V> => {
  const inner = right.left
  if (inner === undefined || sizeOf(inner) < RATIO * sizeOf(right.right))
    return make(right.key, right.value, make(key, value, left, inner, weigh), right.right, weigh)
  return make(
    inner.key,
    inner.value,
    make(key, value, left, inner.left, weigh),
    make(right.key, right.value, inner.right, right.right, weigh),
    weigh,
  )
}

const leanRight = <K extends Key, V>(
  key: K,
  value: V,
  left: Node<K, V>,
  right: Tree<K, V>,
  weigh: (value: V) => number,
): Node<K, V> => {
  const inner = left.right
  if (inner === undefined || sizeOf(inner) < RATIO * sizeOf(left.left))
    return make(left.key, left.value, left.left, make(key, value, inner, right, weigh), weigh)
  return make(
    inner.key,
    inner.value,
    make(left.key, left.value, left.left, inner.left, weigh),
    make(key, value, inner.right, right, weigh),
    weigh,
  )
}

const insert = <K extends Key, V>(
  tree: Tree<K, V>,
  key: K,
  value: V,
  weigh: (value: V) => number,
): Node<K, V> => {
  if (tree === undefined) return make(key, value, undefined, undefined, weigh)
  if (key === tree.key) return make(key, value, tree.left, tree.right, weigh)
  return key < tree.key
    ? balanced(tree.key, tree.value, insert(tree.left, key, value, weigh), tree.right, weigh)
    : balanced(tree.key, tree.value, tree.left, insert(tree.right, key, value, weigh), weigh)
}

const remove = <K extends Key, V>(
  tree: Tree<K, V>,
  key: K,
  weigh: (value: V) => number,
): Tree<K, V> => {
  if (tree === undefined) return undefined
  if (key < tree.key) {
    const left = remove(tree.left, key, weigh)
    return left === tree.left ? tree : balanced(tree.key, tree.value, left, tree.right, weigh)
  }
  if (key > tree.key) {
    const right = remove(tree.right, key, weigh)
    return right === tree.right ? tree : balanced(tree.key, tree.value, tree.left, right, weigh)
  }
  if (tree.left === undefined) return tree.right
  if (tree.right === undefined) return tree.left
  let next = tree.right
  while (next.left !== undefined) next = next.left
  return balanced(next.key, next.value, tree.left, remove(tree.right, next.key, weigh), weigh)
}

const addUp = <K extends Key, V>(
  tree: Tree<K, V>,
  first: K | undefined,
  last: K | undefined,
  weigh: (value: V) => number,
  total: { count: number; weight: number },
): void => {
  if (tree === undefined) return
  if (first === undefined && last === undefined) {
    total.count += tree.size
    total.weight += tree.weight
    return
  }
  const afterFirst = first === undefined || tree.key >= first
  const beforeLast = last === undefined || tree.key <= last
  if (afterFirst) addUp(tree.left, first, beforeLast ? undefined : last, weigh, total)
  if (afterFirst && beforeLast) {
    total.count += 1
    total.weight += weigh(tree.value)
  }
  if (beforeLast) addUp(tree.right, afterFirst ? undefined : first, last, weigh, total)
}
