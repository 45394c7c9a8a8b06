// The JavaScript client kafkajs. Words: tests/compat/README.md.
'use strict'

const fs = require('fs')
const readline = require('readline')
const { Kafka, logLevel } = require('kafkajs')

const BASE_MS = 1700000000000
const BATCH = 100

async function main([verb, ...words]) {
  if (verb === 'produce') return produce(words)
  if (verb === 'join') return join(words)
  if (verb === 'transact') return transact(words)
  throw new Error(`kafkajs does not '${verb}' here: it reads through groups alone`)
}

// A member of a group: a line a record it read, in the file before it is committed; leaves at SIGTERM.
async function join([bootstrap, topic, groupId, strategy, path]) {
  if (strategy !== 'roundrobin') throw new Error(`kafkajs has no '${strategy}'`)
  const kafka = new Kafka({
    clientId: 'member',
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 1000 },
  })
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, allowAutoTopicCreation: false })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const file = fs.openSync(path, 'a')
  process.on('SIGTERM', () => consumer.disconnect().then(() => process.exit(0)))
  await consumer.run({
    eachBatch: async ({ batch, heartbeat }) => {
      const lines = batch.messages.map(({ offset, value }) => `${batch.partition}\t${offset}\t${value}\n`)
      fs.writeSync(file, lines.join(''))
      await heartbeat()
    },
  })
  await new Promise(() => {}) // until it leaves
}

// Reads a topic, writes each record to another, and its positions with it, in transactions, of which each fifth is written
// twice and aborted first; leaves at SIGTERM. An error ends the process: whoever started it starts another.
async function transact([bootstrap, source, target, groupId, transactionalId]) {
  const kafka = new Kafka({
    clientId: 'transformer',
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 1000 },
  })
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, transactionTimeout: 10000, allowAutoTopicCreation: false })
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 500, readUncommitted: false, allowAutoTopicCreation: false })
  await producer.connect()
  await consumer.connect()
  await consumer.subscribe({ topic: source, fromBeginning: true })
  let leaving = false
  process.on('SIGTERM', () => {
    leaving = true
    consumer.disconnect().then(() => process.exit(0))
  })
  let count = 0
  // It would go on in this process beside the batch it was at, which nothing fences: kafkajs does not name its generation.
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    console.error(payload.error)
    if (!leaving) process.exit(1)
  })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, heartbeat, isRunning, isStale, resolveOffset }) => {
      for (let at = 0; at < batch.messages.length && isRunning() && !isStale(); at += 50) {
        const part = batch.messages.slice(at, at + 50)
        const messages = part.map(({ key, value }) => ({ key, value }))
        count += 1
        if (count % 5 === 0) {
          const aborted = await producer.transaction()
          await aborted.send({ topic: target, acks: -1, messages: messages.map(({ key, value }) => ({ key, value: `aborted-${value}` })) })
          await aborted.abort()
        }
        const transaction = await producer.transaction()
        try {
          await transaction.send({ topic: target, acks: -1, messages })
          const offset = (BigInt(part[part.length - 1].offset) + 1n).toString()
          await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions: [{ partition: batch.partition, offset }] }] })
          await transaction.commit()
        } catch (error) {
          await transaction.abort().catch(() => {})
          console.error(error)
          process.exit(1)
        }
        resolveOffset(part[part.length - 1].offset)
        await heartbeat()
      }
    },
  })
  await new Promise(() => {}) // until it leaves
}

async function produce([bootstrap, topic, path, first, end, name, rate, logPath]) {
  first = Number(first)
  end = Number(end)
  const kafka = new Kafka({
    clientId: name,
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    requestTimeout: 10000,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 1000 },
  })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, allowAutoTopicCreation: false })
  await producer.connect()
  const log = fs.openSync(logPath, 'w')
  const began = Date.now()
  let acknowledged = 0

  async function send(batch) {
    const messages = batch.map(([number, key, value]) => ({
      key,
      value,
      timestamp: String(BASE_MS + number),
      headers: { producer: name, seq: String(number) },
    }))
    const answers = await producer.send({ topic, acks: -1, timeout: 30000, messages })
    // One answer a partition, with its first offset; which record went where follows from the partitioner's own choice.
    const offsets = new Map(answers.map((answer) => [answer.partition, BigInt(answer.baseOffset)]))
    const taken = new Map()
    let lines = ''
    for (const [number, key] of batch) {
      const partition = partitionOf(key)
      const nth = taken.get(partition) || 0
      taken.set(partition, nth + 1)
      if (!offsets.has(partition)) throw new Error(`no answer for partition ${partition}`)
      lines += `${number} ${partition} ${offsets.get(partition) + BigInt(nth)}\n`
      acknowledged += 1
    }
    fs.writeSync(log, lines)
    const ahead = (acknowledged / Number(rate)) * 1000 - (Date.now() - began)
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead))
  }

  const { Partitioners } = require('kafkajs')
  const choose = Partitioners.DefaultPartitioner()
  const admin = kafka.admin()
  await admin.connect()
  const partitionMetadata = (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions
  await admin.disconnect()
  const partitionOf = (key) => choose({ topic, partitionMetadata, message: { key } })

  let batch = []
  let number = 0
  for await (const line of readline.createInterface({ input: fs.createReadStream(path) })) {
    if (number >= end) break
    if (number >= first) {
      const tab = line.indexOf('\t')
      batch.push([number, line.slice(0, tab), line.slice(tab + 1)])
      if (batch.length === BATCH) {
        await send(batch)
        batch = []
      }
    }
    number += 1
  }
  if (batch.length > 0) await send(batch)
  await producer.disconnect()
  fs.closeSync(log)
  if (acknowledged !== end - first) throw new Error(`${acknowledged} of ${end - first} records acknowledged`)
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
