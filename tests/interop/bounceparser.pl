# What Mail::DeliveryStatus::BounceParser finds in a mail on standard input: one line a report, its fields by tabs.
use strict;
use warnings;
use Mail::DeliveryStatus::BounceParser;

my $bounce = Mail::DeliveryStatus::BounceParser->new(\*STDIN);
print $bounce->is_bounce ? "bounce\n" : "no bounce\n";
for my $report ($bounce->reports) {
    my @fields = map { my $value = $report->get($_); defined $value ? $value =~ s/\s+$//r : "" }
        qw(email std_reason action status);
    print join("\t", @fields), "\n";
}
