import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.StringJoiner;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client, compiled against 4.3.1 and 3.9.1. Words: tests/compat/README.md. */
public final class Client {
    private static final long BASE_MS = 1_700_000_000_000L;

    private final OutputStream log;
    private int acknowledged = 0;
    private String error = null;

    private Client(OutputStream log) {
        this.log = log;
    }

    public static void main(String[] words) throws Exception {
        if (words.length == 9 && words[0].equals("produce")) {
            produce(words);
        } else if (words.length == 4 && words[0].equals("consume")) {
            consume(words[1], words[2], Path.of(words[3]));
        } else if (words.length == 6 && words[0].equals("join")) {
            join(words[1], words[2], words[3], words[4], Path.of(words[5]));
        } else if (words.length == 6 && words[0].equals("transact")) {
            AtomicBoolean leaving = new AtomicBoolean();
            CountDownLatch left = leavesAtTerm(leaving);
            try {
                for (int count = 0; !leaving.get();) {
                    count = transact(words[1], words[2], words[3], words[4], words[5], leaving, count);
                }
            } finally {
                left.countDown();
            }
        } else {
            System.err.println("usage: Client produce|consume|join|transact ..., see tests/compat/README.md");
            System.exit(2);
        }
    }

    private static void produce(String[] words) throws Exception {
        String topic = words[2];
        int first = Integer.parseInt(words[4]);
        int end = Integer.parseInt(words[5]);
        byte[] name = words[6].getBytes(StandardCharsets.UTF_8);
        double rate = Double.parseDouble(words[7]);
        Properties settings = new Properties();
        settings.put("bootstrap.servers", words[1]);
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("linger.ms", "5");
        settings.put("delivery.timeout.ms", "300000");
        settings.put("max.block.ms", "300000");
        settings.put("request.timeout.ms", "10000");
        settings.put("reconnect.backoff.max.ms", "500");
        List<String> lines = Files.readAllLines(Path.of(words[3])).subList(first, end);
        try (OutputStream file = new BufferedOutputStream(Files.newOutputStream(Path.of(words[8])), 1 << 12)) {
            Client client = new Client(file);
            long began = System.nanoTime();
            try (KafkaProducer<byte[], byte[]> producer =
                    new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
                for (int sent = 0; sent < lines.size(); sent++) {
                    int number = first + sent;
                    String[] halves = lines.get(sent).split("\t", 2);
                    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, null, BASE_MS + number,
                            halves[0].getBytes(StandardCharsets.UTF_8), halves[1].getBytes(StandardCharsets.UTF_8));
                    record.headers().add("producer", name);
                    record.headers().add("seq", Integer.toString(number).getBytes(StandardCharsets.UTF_8));
                    producer.send(record, (where, failure) ->
                            client.told(number, where == null ? -1 : where.partition(), where == null ? -1 : where.offset(), failure));
                    if (sent % 100 == 0) {
                        long ahead = (long) (sent / rate * 1e9) - (System.nanoTime() - began);
                        if (ahead > 0) {
                            Thread.sleep(ahead / 1_000_000);
                        }
                    }
                }
            }
            synchronized (client) {
                if (client.error != null || client.acknowledged != end - first) {
                    throw new IllegalStateException(client.acknowledged + " of " + (end - first) + " records acknowledged; " + client.error);
                }
            }
        }
    }

    private synchronized void told(int number, int partition, long offset, Exception failure) {
        if (failure != null) {
            error = "record " + number + ": " + failure;
            return;
        }
        try {
            log.write((number + " " + partition + " " + offset + "\n").getBytes(StandardCharsets.UTF_8));
            acknowledged++;
        } catch (IOException cannotWrite) {
            error = cannotWrite.toString();
        }
    }

    private static void consume(String bootstrap, String topic, Path path) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", "false");
        settings.put("check.crcs", "true");
        settings.put("max.poll.records", "5000");
        Path part = Path.of(path + ".part");
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                OutputStream out = new BufferedOutputStream(Files.newOutputStream(part), 1 << 20)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition())).toList();
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(partitions);
            Map<TopicPartition, Long> left = new HashMap<>(consumer.endOffsets(partitions));
            left.entrySet().removeIf(entry -> entry.getValue().equals(starts.get(entry.getKey())));
            consumer.assign(left.keySet());
            consumer.seekToBeginning(left.keySet());
            while (!left.isEmpty()) {
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(30));
                if (polled.isEmpty()) {
                    throw new IllegalStateException("no records for 30 s; still to read: " + left);
                }
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    write(record, out);
                    TopicPartition partition = new TopicPartition(topic, record.partition());
                    if (left.containsKey(partition) && record.offset() + 1 >= left.get(partition)) {
                        left.remove(partition);
                    }
                }
            }
        }
        Files.move(part, path);
    }

    /** A member of a group: a line a record it read, in the file before it is committed; leaves at SIGTERM. */
    private static void join(String bootstrap, String topic, String group, String strategy, Path path)
            throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", "200");
        if (strategy.equals("consumer")) {
            settings.put("group.protocol", "consumer");
        } else {
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "500");
            String name = strategy.equals("range") ? "RangeAssignor" : "CooperativeStickyAssignor";
            settings.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + name);
        }
        AtomicBoolean leaving = new AtomicBoolean();
        CountDownLatch left = leavesAtTerm(leaving);
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                OutputStream out = Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            consumer.subscribe(List.of(topic));
            while (!leaving.get()) {
                StringBuilder lines = new StringBuilder();
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    lines.append(record.partition()).append('\t').append(record.offset()).append('\t')
                            .append(new String(record.value(), StandardCharsets.UTF_8)).append('\n');
                }
                if (lines.length() == 0) {
                    continue;
                }
                out.write(lines.toString().getBytes(StandardCharsets.UTF_8));
                try {
                    consumer.commitSync(Duration.ofSeconds(5));
                } catch (KafkaException again) {
                    // A rebalance, or no broker: whoever has the partitions next reads this again.
                }
            }
        } finally {
            left.countDown();
        }
    }

    /** Sets `leaving` at SIGTERM; the process ends when the latch is down. */
    private static CountDownLatch leavesAtTerm(AtomicBoolean leaving) {
        CountDownLatch left = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            leaving.set(true);
            try {
                left.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }));
        return left;
    }

    /**
     * Reads a topic, writes each record to another, and its positions with it, in transactions, of which each fifth is
     * written twice and aborted first. Returns how many it began, when it is to leave or an error has ended its producer.
     */
    private static int transact(String bootstrap, String source, String target, String group, String name,
            AtomicBoolean leaving, int count) {
        Properties reading = new Properties();
        reading.put("bootstrap.servers", bootstrap);
        reading.put("group.id", group);
        reading.put("enable.auto.commit", "false");
        reading.put("isolation.level", "read_committed");
        reading.put("auto.offset.reset", "earliest");
        reading.put("max.poll.records", "50");
        reading.put("session.timeout.ms", "6000");
        reading.put("heartbeat.interval.ms", "500");
        Properties writing = new Properties();
        writing.put("bootstrap.servers", bootstrap);
        writing.put("transactional.id", name);
        writing.put("transaction.timeout.ms", "10000");
        writing.put("reconnect.backoff.max.ms", "500");
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                KafkaProducer<byte[], byte[]> producer =
                        new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(source));
            while (!leaving.get()) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(500));
                if (records.isEmpty()) {
                    continue;
                }
                count++;
                if (count % 5 == 0) {
                    producer.beginTransaction();
                    for (ConsumerRecord<byte[], byte[]> record : records) {
                        byte[] value = ("aborted-" + new String(record.value(), StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
                        producer.send(new ProducerRecord<>(target, record.key(), value));
                    }
                    producer.flush();
                    producer.abortTransaction();
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    producer.send(new ProducerRecord<>(target, record.key(), record.value()));
                    positions.put(new TopicPartition(source, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
                producer.commitTransaction();
            }
        } catch (KafkaException error) {
            System.err.println(error);
        }
        return count;
    }

    private static void write(ConsumerRecord<byte[], byte[]> record, OutputStream out) throws IOException {
        StringJoiner headers = new StringJoiner(",");
        for (Header header : record.headers()) {
            headers.add(header.key() + "=" + new String(header.value(), StandardCharsets.UTF_8));
        }
        String before = record.partition() + "\t" + record.offset() + "\t" + record.timestamp() + "\t" + headers + "\t";
        out.write(before.getBytes(StandardCharsets.UTF_8));
        out.write(record.key() == null ? new byte[0] : record.key());
        out.write('\t');
        out.write(record.value());
        out.write('\n');
    }
}
