import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Two small applications of Kafka Streams, for scripts/streams.sh.
 *
 * <pre>App count|join BOOTSTRAP GUARANTEE STATE_FOLDER</pre>
 *
 * count: words of the topic `lines`, counted into `counts`. join: `orders` (item, how many) priced by the table `prices` (item, price),
 * added up for each item and minute of the order's time into `revenue` (item@minute). Each topic's name ends in - and the guarantee.
 * Ends in order at SIGTERM.
 */
public final class App {
    private static final long MINUTE_MS = 60_000;

    private App() {}

    public static void main(String[] args) throws Exception {
        String name = args[0];
        StreamsBuilder builder = new StreamsBuilder();
        if (name.equals("count")) {
            count(builder, "-" + args[2]);
        } else {
            join(builder, "-" + args[2]);
        }
        KafkaStreams streams = new KafkaStreams(builder.build(), settings(name, args[1], args[2], args[3]));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.err.println("state " + now);
            if (now == KafkaStreams.State.ERROR) {
                Runtime.getRuntime().halt(1);
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(30));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }

    private static void count(StreamsBuilder builder, String end) {
        builder.stream("lines" + end, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.with(Serdes.String(), Serdes.Long()))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to("counts" + end, Produced.with(Serdes.String(), Serdes.String()));
    }

    private static void join(StreamsBuilder builder, String end) {
        var prices = builder.table("prices" + end, Consumed.with(Serdes.String(), Serdes.String()));
        builder.stream("orders" + end, Consumed.with(Serdes.String(), Serdes.String()))
            .join(prices, (many, price) -> Long.parseLong(many) * Long.parseLong(price), Joined.with(Serdes.String(), Serdes.String(), Serdes.String()))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
            // The grace keeps every window while the application runs: what is restored after a kill is never too old to be kept.
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(MINUTE_MS), Duration.ofDays(1)))
            .reduce(Long::sum, Materialized.with(Serdes.String(), Serdes.Long()))
            .toStream()
            .map((window, sum) -> KeyValue.pair(window.key() + "@" + window.window().start() / MINUTE_MS, Long.toString(sum)))
            .to("revenue" + end, Produced.with(Serdes.String(), Serdes.String()));
    }

    private static Properties settings(String name, String bootstrap, String guarantee, String folder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, name + "-" + guarantee);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        // A join waits for the side that is behind: the result does not hang on who is read first.
        settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 1_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1_000);
        return settings;
    }
}
