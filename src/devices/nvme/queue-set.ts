/** The queues of a controller, and which of them is served next. */
import type { CompletionQueue, SubmissionQueue } from './queues.ts'

export class QueueSet {
  readonly submission = new Map<number, SubmissionQueue>()
  readonly completion = new Map<number, CompletionQueue>()
  readonly #order: SubmissionQueue[] = []

  /** There are queues beside the admin ones. */
  get hasIoQueues(): boolean {
    return this.submission.size > 1 || this.completion.size > 1
  }

  addCompletion(queue: CompletionQueue): void {
    this.completion.set(queue.id, queue)
  }

  addSubmission(queue: SubmissionQueue): void {
    queue.completions.users += 1
    this.submission.set(queue.id, queue)
    this.#order.push(queue)
  }

  removeSubmission(queue: SubmissionQueue): void {
    queue.completions.users -= 1
    this.submission.delete(queue.id)
    this.#order.splice(this.#order.indexOf(queue), 1)
  }

  /** The submission queue whose turn it is; after as many calls as there are queues each had its turn. */
  next(): SubmissionQueue | undefined {
    const queue = this.#order.shift()
    if (queue !== undefined) this.#order.push(queue)
    return queue
  }
}
