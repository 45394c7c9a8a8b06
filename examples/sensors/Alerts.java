import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.WindowStore;

/** Alerts for readings that are far from what their sensor said in the same minute: Alerts BOOTSTRAP STATE_DIR. See README.md. */
public final class Alerts {
  private static final Duration WINDOW = Duration.ofMinutes(1);
  /** Readings of a window before one can be told to be odd. */
  private static final long ENOUGH = 10;
  /** Standard deviations from the mean that are too many. */
  private static final double TOO_FAR = 10;

  /** What is known of one sensor's window (Welford's running mean and variance), and whether its newest reading is odd. */
  private record Window(long count, double mean, double squares, double odd) {
    static final Window EMPTY = new Window(0, 0, 0, Double.NaN);

    Window with(double reading) {
      double deviation = Math.sqrt(squares / Math.max(1, count - 1));
      if (count >= ENOUGH && Math.abs(reading - mean) > TOO_FAR * deviation) {
        return new Window(count, mean, squares, reading); // an odd one does not count
      }
      double from = reading - mean;
      double newMean = mean + from / (count + 1);
      return new Window(count + 1, newMean, squares + from * (reading - newMean), Double.NaN);
    }

    boolean isOdd() {
      return !Double.isNaN(odd);
    }

    static Serde<Window> serde() {
      return Serdes.serdeFrom(
          (topic, it) -> ByteBuffer.allocate(32).putLong(it.count).putDouble(it.mean).putDouble(it.squares).putDouble(it.odd).array(),
          (topic, bytes) -> {
            ByteBuffer from = ByteBuffer.wrap(bytes);
            return new Window(from.getLong(), from.getDouble(), from.getDouble(), from.getDouble());
          });
    }
  }

  public static void main(String[] words) throws InterruptedException {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "alerts");
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, words[1]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0); // each reading counts, not the last of several
    settings.put("auto.offset.reset", "earliest");

    KafkaStreams streams = new KafkaStreams(topology().build(), settings);
    CountDownLatch ended = new CountDownLatch(1);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          ended.countDown();
          return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    ended.await();
    System.exit(1);
  }

  private static StreamsBuilder topology() {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream("readings", Consumed.with(Serdes.String(), Serdes.String()))
        .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
        .windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW))
        .aggregate(
            () -> Window.EMPTY,
            (sensor, reading, window) -> window.with(Double.parseDouble(reading)),
            Materialized.<String, Window, WindowStore<Bytes, byte[]>>as("windows").withKeySerde(Serdes.String()).withValueSerde(Window.serde()))
        .toStream()
        .filter((sensor, window) -> window.isOdd())
        .processValues(Told::new)
        .selectKey((sensor, alert) -> sensor.key())
        .to("alerts", Produced.with(Serdes.String(), Serdes.String()));
    return builder;
  }

  /** Puts the reading's time before it. */
  private static final class Told extends ContextualFixedKeyProcessor<Windowed<String>, Window, String> {
    @Override
    public void process(FixedKeyRecord<Windowed<String>, Window> record) {
      Window window = record.value();
      context().forward(record.withValue("%d %.3f %.3f".formatted(record.timestamp(), window.odd(), window.mean())));
    }
  }
}
